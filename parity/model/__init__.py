"""Values, protocols and errors that every room of parity speaks in; imports nothing of ours."""
