"""The energy landscape: which small moves a world model believes lead towards a goal, as numbers and as a picture."""
