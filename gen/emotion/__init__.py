"""One emotion for every generator: value types, terms, directions, and what hands them to a network."""
