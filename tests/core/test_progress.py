"""Progress in a log: what a line says."""

from structgan import progress as progresses


def test_losses_stay_in_the_lines_between_two_logs(capsys, monkeypatch):
    monkeypatch.setattr(progresses, "INTERVAL_S", 0)
    with progresses.Progress("digits", 3) as progress:
        progress.advance(1, loss=0.5)
        progress.advance()
        progress.advance(1, loss=0.25, top1="61 %")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" steps  ")[0] for line in lines] == ["digits: 1/3", "digits: 2/3", "digits: 3/3"]
    assert all("step/s" in line for line in lines)
    assert "loss 0.5" in lines[0] and "loss 0.5" in lines[1] and "loss 0.25  top1 61 %" in lines[2]
    assert "s left" in lines[1]
