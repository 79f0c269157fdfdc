"""Closed-loop evaluation: many episodes from pictures and pose alone, judged by physics, beside baselines."""
