"""What a user is told: one line."""

import contextlib

import pytest

from structgan.errors import UserError


@contextlib.contextmanager
def refused(*words: str):
    """Expect one line with every word in it."""
    with pytest.raises(UserError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
