"""A browser classifies pictures in report.html as ONNX Runtime and `cifar10 classify` do."""

import base64
import hashlib
import json
import shutil
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from cifar10.export.session import load_exported, probabilities
from cifar10.pictures.picture import read_picture
from tests.clone import CHROMIUM, ROOT
from tests.test_pictures import saved
from tools.tryit import try_it

RELEASE, SHIP = ROOT / "release/cifar10.onnx", ROOT / "docs/ship.jpg"
PAGE = """<!DOCTYPE html><div id="try"><input type="file"></div><div id="answers"></div>
<script id="network" type="application/json">{0.network}</script>
<script id="weights" type="text/plain">{0.weights}</script>
<script>{0.script}</script>
<script>
async function all(files) {{
  const found = [];
  for (const [name, data] of files) {{
    const file = new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name);
    found.push(await read(file).then(probabilities, () => null));
    await answer(file);
  }}
  const body = JSON.stringify([found, document.getElementById("answers").innerText]);
  await fetch("/found", {{ method: "POST", body }});
}}
all({1});
</script>"""


def in_browser(page: str) -> Any:
    """Serve the page to a headless Chromium and return what it sends back."""
    sent = Queue[bytes]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode())

        def do_POST(self) -> None:
            sent.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.do_GET()

    assert CHROMIUM
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, TemporaryDirectory() as profile:
        Thread(target=server.serve_forever, daemon=True).start()
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        url = f"http://127.0.0.1:{server.server_port}"
        browser = subprocess.Popen([*command, "--remote-debugging-port=0", url], stderr=subprocess.DEVNULL)
        try:
            return json.loads(sent.get(timeout=600))  # a guard against a hang
        finally:
            browser.kill()
            browser.wait()
            server.shutdown()


@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium")
def test_it_answers_as_the_network_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    shutil.copy(RELEASE, "models/model.onnx")
    found = try_it(hashlib.md5(RELEASE.read_bytes()).hexdigest())
    assert found
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (4, 32, 32, 3), np.uint8)
    pictures = {f"{i}.png": saved("png", Image.fromarray(image)) for i, image in enumerate(small)}
    wide = Image.open(SHIP).resize((301, 203))
    wide.putalpha(Image.linear_gradient("L").resize(wide.size))
    pictures |= {"ship.jpg": SHIP.read_bytes(), "wide.png": saved("png", wide), "notes.txt": b"no picture"}
    files = json.dumps([[name, base64.b64encode(data).decode()] for name, data in pictures.items()])
    (*answers, none), said = in_browser(PAGE.format(found, files))
    assert none is None
    assert "notes.txt: is not a picture that this browser can read" in said
    images = [*small, *(read_picture(BytesIO(pictures[name])) for name in ("ship.jpg", "wide.png"))]
    expected = probabilities(load_exported(RELEASE), np.stack(images))
    np.testing.assert_allclose(answers[:4], expected[:4], atol=1e-4)
    assert np.argmax(answers, axis=1).tolist() == expected.argmax(1).tolist()
    np.testing.assert_allclose(answers[4:], expected[4:], atol=0.02)  # a JPEG's decoder and rounding differ
    assert f"ship.jpg: ship {100 * answers[4][8]:.1f} %" in said


def test_without_the_file_there_is_nothing_to_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert try_it("0") is None
    assert try_it(None) is None
    Path("models").mkdir()
    for operator in ("Tanh", "Conv"):  # one that tryit.js does not know, and one whose weights another node makes
        graph = onnx.helper.make_graph([onnx.helper.make_node(operator, ["x", "y"], ["z"])], "other", [], [])
        data = onnx.helper.make_model(graph).SerializeToString()
        Path("models/model.onnx").write_bytes(data)
        assert try_it(hashlib.md5(data).hexdigest()) is None
