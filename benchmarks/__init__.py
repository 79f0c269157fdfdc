"""Measurements that can be repeated: `./dev bench NAME` prints a table and writes a dated file under results/."""
