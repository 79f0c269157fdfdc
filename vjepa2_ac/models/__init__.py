"""Networks, with the state-dict layout of the released V-JEPA 2 files."""
