"""A Franka to try plans on: scene, control, tasks, expert, recorded episodes and closed-loop evaluation."""
