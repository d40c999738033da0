from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[2] / "fixtures"
MODEL = FIXTURES / "checkpoints" / "vision"  # 26 tokens of width 36


@pytest.fixture
def model() -> Path:
    return MODEL


@pytest.fixture
def pictures() -> list[Path]:
    """RGB pictures of several formats."""
    names = ["jpeg-420.jpg", "png-rgb-8.png", "coffee.png", "jpeg-444.jpg", "size-227x151.jpg"]
    return [path for name in names if (path := FIXTURES / "images" / name).exists()]


@pytest.fixture
def bad() -> Path:
    return FIXTURES / "images" / "bad" / "truncated.jpg"
