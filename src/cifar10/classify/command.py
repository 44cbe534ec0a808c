"""The command's entry: the process that decodes pictures starts while this one loads ONNX Runtime."""

from cifar10.classify.reader import Reader


def classify(arguments: list[str], model_file: str | None, top: int, as_json: bool) -> int:
    """Print a line for each picture in the files and folders; return the exit code: 1 where one was refused.

    UserError where there is no network, or it has fewer classes than `top`.
    """
    with Reader() as reader:
        from cifar10.classify.lines import print_lines

        return print_lines(reader, arguments, model_file, top, as_json)
