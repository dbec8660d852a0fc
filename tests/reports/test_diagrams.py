from __future__ import annotations

from types import SimpleNamespace

from unrolled.reports.diagrams import unrolled_diagram


def test_one_layer() -> None:
    network = SimpleNamespace(layers=1, states=["h"], sizes={"D": 3, "H": 4})
    assert unrolled_diagram("rnn", network) == (
        "            y[1]        y[2]        y[3]\n"
        "             ↑           ↑           ↑\n"
        "h[0]  ─h→ [ rnn ] ─h→ [ rnn ] ─h→ [ rnn ] ─h→ ...   layer 0, H = 4\n"
        "             ↑           ↑           ↑\n"
        "            x[1]        x[2]        x[3]"
    )


def test_a_language_model_has_an_embedding_below_and_an_output_above() -> None:
    network = SimpleNamespace(layers=2, states=["h", "c"], sizes={"V": 9, "E": 3, "D": 3, "H": 4})
    lines = unrolled_diagram("lstm", network).splitlines()
    text = "\n".join(lines)
    assert text.index("softmax, V = 9") < text.index("layer 1, H = 4") < text.index("layer 0, H = 4")
    assert text.index("layer 0, H = 4") < text.index("embedding, E = 3")
    assert text.count("[ lstm ]") == 6
    assert text.count("─h,c→") == 8


def test_the_columns_stand_above_each_other() -> None:
    for cell in ("a", "gru-reset-before"):
        lines = unrolled_diagram(cell, SimpleNamespace(layers=1, states=["h"], sizes={"H": 4})).splitlines()
        boxes = [k + (len(cell) + 4) // 2 for k in range(len(lines[2])) if lines[2].startswith(f"[ {cell} ]", k)]
        arrows = [k for k, sign in enumerate(lines[1]) if sign == "↑"]
        assert len(arrows) == 3
        assert all(abs(box - arrow) <= 1 for box, arrow in zip(boxes, arrows, strict=True))
