"""One plan from pictures on disk: made here or by a service, and told as a table, as JSON and as a picture."""
