"""What a user is told: one line."""

from __future__ import annotations

import pytest

from structgan.errors import UserError


def refused(*words: str):
    """Expect one line with every word in it."""

    class Refused:
        def __enter__(self):
            self.inner = pytest.raises(UserError)
            self.caught = self.inner.__enter__()

        def __exit__(self, *error):
            done = self.inner.__exit__(*error)
            message = str(self.caught.value)
            assert "\n" not in message
            for word in words:
                assert word in message, message
            return done

    return Refused()
