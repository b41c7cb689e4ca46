"""The one error of the brokers for tests, apart so that every file beside it can raise it.

Nothing else belongs here.
"""

from __future__ import annotations

from parity.model.errors import ServiceDown


class BrokerError(ServiceDown):
    """A broker could not be started, reached or asked to do something."""
