"""One plan from pictures on disk: made in this process or by a service, shown as a table, as JSON and as a picture."""
