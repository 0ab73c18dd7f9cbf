"""Train a little, then look: trajectories, advantages, what other estimators would have said.

A marimo notebook. ``marimo edit examples/look_inside.py`` opens it; ``python examples/look_inside.py`` runs it through.
"""

import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo

    mo.md("""
    # Look inside a run

    A small policy plays household tasks for two iterations and learns from them. What it played and what each turn was
    given lie in the run's folder, as Parquet: no tracker, no server.
    """)
    return (mo,)


@app.cell
def _():
    import tempfile

    import agentrl as ar

    short = ["rollout.tasks=4", "evaluate=false"]  # the recipe has 8 tasks, and measures before and after
    run = ar.train("household-tiny", iterations=2, seed=1, set=short, out=f"{tempfile.mkdtemp()}/run")
    run
    return ar, run


@app.cell
def _(mo):
    mo.md("""
    ## Episodes and turns

    `run.trajectories` has a row an episode and `run.turns` a row a turn; both are plain data frames.
    """)
    return


@app.cell
def _(run):
    episodes = run.trajectories.to_pandas()
    episodes.groupby(["iteration", "group"])[["success", "n_turns", "reward"]].mean()
    return (episodes,)


@app.cell
def _(episodes, run):
    turns = run.turns.to_pandas()
    turns[turns.trajectory == episodes.id[0]][["turn", "observation", "text", "reward", "valid"]]
    return


@app.cell
def _(mo):
    mo.md("""
    ## Which turn earned what

    GRPO gives every turn of an episode the same (less a penalty where it was invalid); GiGPO and GraphGPO also compare
    turns that began in the same state. They are worked out from what is stored, so any estimator can be asked about any
    run.
    """)
    return


@app.cell
def _(ar, episodes, run):
    shares = episodes.groupby("group").success.mean()
    mixed = shares[(shares > 0) & (shares < 1)].index[0]  # where all succeed or all fail there is little to tell
    table = ar.credit(run.folder, ["grpo", "gigpo", "graphgpo"], group=mixed).table()
    table
    return (table,)


@app.cell
def _(table):
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3))
    for estimator in ("grpo", "gigpo", "graphgpo"):
        axes.plot(table[estimator].to_numpy(), label=estimator, lw=1)
    axes.axhline(0, color="0.7", lw=1)
    axes.set_xlabel("turns of the group, episode after episode")
    axes.set_ylabel("advantage")
    axes.legend()
    figure
    return


if __name__ == "__main__":
    app.run()
