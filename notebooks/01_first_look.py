# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A first look
#
# Ticks become a *recording*, a strategy runs over it, and what it did can be looked at, explained
# and proved. Everything here happens in a temporary folder and needs no service.

# %%
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import parity as pt

folder = Path(tempfile.mkdtemp(prefix="parity-"))

# %% [markdown]
# ## Ticks
#
# A small CSV stands in for your data: four hours of one instrument that falls now and then, and
# comes back. `pt.import_ticks` takes every cell as text and keeps it exactly. It refuses what it
# would have to guess or round: times without a zone, bars, a price finer than the scale.

# %%
draw = random.Random(7)
start = datetime(2025, 6, 2, 9, 15, tzinfo=UTC)
price = 100_000  # in cents
rows = ["ts_event,instrument_token,symbol,price,quantity,side"]
for second in range(0, 4 * 3600, 3):
    within = (second + 900) % 2700
    pull = -28 if 2000 <= within < 2100 else 4 if 2100 <= within < 2640 else 0
    price += draw.choice((-30, -10, 0, 10, 30)) + pull
    when = (start + timedelta(seconds=second)).isoformat()
    side = draw.choice(("buy", "sell"))
    rows.append(f"{when},1,DEMO,{price / 100:.2f},{draw.randint(1, 20)},{side}")
csv = folder / "ticks.csv"
csv.write_text("\n".join(rows) + "\n")

recording = pt.import_ticks(csv, to=folder / "recording")
recording

# %% [markdown]
# ## A strategy
#
# A strategy is a function of a tick and its history: the last 50 ticks of the same instrument, the
# current one included. What follows the `*` are its parameters.


# %%
@pt.strategy("dip", history=50)
def dip(tick, history, *, drop=0.004, quantity=1):
    fall = 1 - tick.price / history.price[0]
    if fall > drop:
        return pt.SignalResult("BUY", min(1.0, fall / 0.01), quantity, tick.price, "dip")


run = pt.backtest(recording, dip(drop=0.008))
run

# %% [markdown]
# ## What it did
#
# `run.signals`, `run.drops`, `run.orders`, `run.fills`, `run.positions`, `run.trades` and
# `run.ticks` are polars frames. Times are UTC with nanoseconds; money has its exact Decimal beside
# the float.

# %%
run.signals.select("seq", "ts_event", "strategy_id", "side", "price", "confidence").head()

# %%
run.fills.select("ts_event", "side", "price_exact", "quantity_exact", "commission_exact").head()

# %% [markdown]
# What it came to: PnL and drawdown are exact, the last row is the total of all strategies.

# %%
run.statistics.select("strategy_id", "fills", "pnl", "max_drawdown", "trades", "hit_rate")

# %% [markdown]
# A triangle is a signal, a cross something that was dropped, a ring a fill; below is PnL. (Altair
# loads its drawing code from the network; without one, `import altair;
# altair.renderers.enable("png")` draws it here.)

# %%
run.plot()

# %% [markdown]
# Why was there a signal at this tick, and what did each validator see?

# %%
first = run.signals["seq"][0]
why = run.why(first)
why

# %% [markdown]
# ## Proof
#
# `pt.verify` runs the kept source over the same recording again and compares every candidate,
# decision and fill bit for bit. It says how much it compared: nothing compared is never a success.

# %%
verdict = pt.verify(run)
verdict

# %% [markdown]
# Another parameter is another run. `pt.diff` names the first tick where they part, and the cause.

# %%
other = pt.backtest(recording, dip(drop=0.009))
difference = pt.diff(run, other)
difference

# %% [markdown]
# ## Later
#
# A recording is a folder; open it whenever you like.

# %%
again = pt.open(folder / "recording")
again
