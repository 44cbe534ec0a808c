"use strict";
// Classify dropped pictures with the network in this page. Nothing is loaded and nothing is sent.
const network = JSON.parse(document.getElementById("network").textContent);
const bytes = Uint8Array.from(atob(document.getElementById("weights").textContent.trim()), (c) => c.charCodeAt(0));
const weights = new Float32Array(bytes.buffer);
const SIDE = 32;

// Return the output of one layer. A map is {channels, side, data}, with data by channel, row and column.
function apply(layer, x) {
  if (layer.kind === "Relu") return { ...x, data: x.data.map((value) => Math.max(0, value)) };
  if (layer.kind === "GlobalAveragePool") {
    const area = x.side * x.side;
    const mean = (_, c) => x.data.subarray(c * area, (c + 1) * area).reduce((sum, value) => sum + value, 0) / area;
    return { channels: x.channels, side: 1, data: Float32Array.from({ length: x.channels }, mean) };
  }
  const [outputs, inputs, kernel] = layer.shape;
  const [stride] = layer.strides, [dilation] = layer.dilations, [top, left, bottom] = layer.pads;
  const side = Math.floor((x.side + top + bottom - dilation * (kernel - 1) - 1) / stride) + 1;
  const data = new Float32Array(outputs * side * side);
  for (let o = 0; o < outputs; o++) {
    const group = Math.floor((o * layer.group) / outputs) * inputs;
    if (layer.bias !== undefined) data.fill(weights[layer.bias + o], o * side * side, (o + 1) * side * side);
    for (let i = 0; i < inputs; i++)
      for (let ky = 0; ky < kernel; ky++)
        for (let kx = 0; kx < kernel; kx++) {
          const weight = weights[layer.weight + ((o * inputs + i) * kernel + ky) * kernel + kx];
          for (let row = 0; row < side; row++) {
            const y = row * stride + ky * dilation - top;
            if (y < 0 || y >= x.side) continue;
            const from = ((group + i) * x.side + y) * x.side, to = (o * side + row) * side;
            for (let column = 0; column < side; column++) {
              const at = column * stride + kx * dilation - left;
              if (at >= 0 && at < x.side) data[to + column] += weight * x.data[from + at];
            }
          }
        }
  }
  return { channels: outputs, side, data };
}

// Return the probabilities of an image: SIDE x SIDE pixels, RGBA, 0...255.
function probabilities(pixels) {
  const at = (_, k) => {
    const channel = Math.floor(k / (SIDE * SIDE));
    return (pixels[(k % (SIDE * SIDE)) * 4 + channel] / 255 - network.mean[channel]) / network.std[channel];
  };
  let x = { channels: 3, side: SIDE, data: Float32Array.from({ length: 3 * SIDE * SIDE }, at) };
  for (const layer of network.layers) x = apply(layer, x);
  const largest = Math.max(...x.data);
  const exponents = Array.from(x.data, (value) => Math.exp(value - largest));
  const sum = exponents.reduce((total, each) => total + each);
  return exponents.map((value) => value / sum);
}

// Scale rows of `width` RGBA pixels to SIDE pixels by Pillow's Lanczos filter, and turn rows into columns.
function scaled(pixels, width, rows) {
  const scale = width / SIDE, support = 3 * Math.max(1, scale), result = new Uint8ClampedArray(SIDE * rows * 4);
  const sinc = (t) => (t === 0 ? 1 : Math.sin(Math.PI * t) / (Math.PI * t));
  for (let i = 0; i < SIDE; i++) {
    const centre = (i + 0.5) * scale, first = Math.max(0, Math.trunc(centre - support + 0.5));
    const filter = [];
    for (let j = first; j < Math.min(width, Math.trunc(centre + support + 0.5)); j++) {
      const t = (j + 0.5 - centre) / Math.max(1, scale);
      filter.push(Math.abs(t) < 3 ? sinc(t) * sinc(t / 3) : 0);
    }
    const sum = filter.reduce((total, each) => total + each);
    for (let row = 0; row < rows; row++)
      for (let c = 0; c < 4; c++) {
        let value = 0;
        for (let j = 0; j < filter.length; j++) value += filter[j] * pixels[(row * width + first + j) * 4 + c];
        result[(i * rows + row) * 4 + c] = Math.round(value / sum);
      }
  }
  return result;
}

// Return the centre square of a picture file, on white, as SIDE x SIDE pixels.
async function read(file) {
  const picture = await createImageBitmap(file), side = Math.min(picture.width, picture.height);
  const canvas = new OffscreenCanvas(side, side), context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, side, side);
  context.drawImage(picture, -Math.floor((picture.width - side) / 2), -Math.floor((picture.height - side) / 2));
  const { data } = context.getImageData(0, 0, side, side);
  return side === SIDE ? data : scaled(scaled(data, side, side), side, SIDE);
}

async function answer(file) {
  let text = `${file.name}: is not a picture that this browser can read`;
  try {
    const found = probabilities(await read(file)).map((p, i) => [p, network.classes[i]]);
    const best = found.sort((a, b) => b[0] - a[0]).slice(0, 3);
    text = `${file.name}: ${best.map(([p, name]) => `${name} ${(100 * p).toFixed(1)} %`).join(", ")}`;
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
  const line = document.createElement("p");
  line.textContent = text;
  document.getElementById("answers").prepend(line);
}

const area = document.getElementById("try");
area.querySelector("input").addEventListener("change", (event) => [...event.target.files].forEach(answer));
area.addEventListener("dragover", (event) => event.preventDefault());
area.addEventListener("drop", (event) => {
  event.preventDefault();
  [...event.dataTransfer.files].forEach(answer);
});
