"""What tests of the command line share."""

import pytest

from iclglass.cli import main


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run in this process, in an empty folder: (exit code, stdout, stderr). No colour and no traceback, ever."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        code = main(arguments)
        out, err = capsys.readouterr()
        assert "\x1b" not in out + err
        assert "Traceback" not in err, err
        return code, out, err

    return command
