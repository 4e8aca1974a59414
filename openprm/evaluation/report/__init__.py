"""What people read of an evaluation on benchmarks: tables, pictures, and a page with both, from its results.json."""
