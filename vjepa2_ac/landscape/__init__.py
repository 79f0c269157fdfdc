"""The energy landscape: which small moves lead towards a goal according to a world model; in numbers and a picture."""
