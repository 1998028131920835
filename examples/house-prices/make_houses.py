"""Write `houses.csv`: 3,000 invented houses with what they sold for, the same ones every time."""

from __future__ import annotations

import numpy as np
import polars as pl

ROWS = 3_000


def houses(rows: int = ROWS, seed: int = 0) -> pl.DataFrame:
    """Area and age with some values missing, a district, a garden, and the price they lead to."""
    draw = np.random.default_rng(seed)
    area = draw.gamma(6, 20, rows).round(0) + 30
    age = draw.integers(0, 120, rows)
    district = draw.choice(["centre", "harbour", "hill", "north"], rows, p=[0.2, 0.2, 0.2, 0.4])
    worth = {"centre": 1.5, "harbour": 1.2, "hill": 1.3, "north": 0.9}
    factor = np.array([worth[name] for name in district])
    garden = draw.random(rows) < 0.4
    price = 2_400 * area * factor * (1 - 0.002 * age) * np.where(garden, 1.08, 1.0)
    price = price * np.exp(draw.normal(0, 0.12, rows))
    known = draw.random(rows) > 0.05
    return pl.DataFrame(
        {
            "area": area,
            "age": [int(years) if told else None for years, told in zip(age, known, strict=True)],
            "district": district,
            "garden": garden,
            "price": price.round(-2),
        }
    )


if __name__ == "__main__":
    houses().write_csv("houses.csv")
