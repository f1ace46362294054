"""Update modes: one a file, each acts and records, none judges or retries."""
