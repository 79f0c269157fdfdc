"""The energy landscape: which small moves lead towards a goal by a world model, as numbers and as a picture."""
