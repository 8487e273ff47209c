"""The compiled answer: compile(plan, zones, classes) -> table, and respond(table, query, client) -> bytes. Pure."""
