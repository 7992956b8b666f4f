"""Counts traces."""

import jax
import pytest


@pytest.fixture
def traces():
    """Everything that JAX traces from here on, be it as small as a slice."""
    found = []

    def note(event, seconds, **about):
        if event.endswith("jaxpr_trace_duration"):
            found.append(about.get("fun_name"))

    jax.monitoring.register_event_duration_secs_listener(note)
    yield found
    jax.monitoring.unregister_event_duration_listener(note)
