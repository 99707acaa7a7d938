"""A system that does not look ahead → data/runs/<dataset>/<model>/depth-<depth>/causality/<key>/probe.json;
with it and a prepared dataset → data/runs/<cell>/<key>/{model.safetensors, history.csv, snapshots.safetensors, run.json}
"""


rule probe:
    """Look whether a depth-{wildcards.depth} {wildcards.model} sees frames of {wildcards.dataset} too early."""
    output:
        multiext(f"data/runs/{PROBE}/{{key}}/", *PROBE_FILES),
    log:
        f"logs/probe/{PROBE}/{{key}}.log",
    priority: 2  # before the first training
    retries: 0  # the verdict would be the same
    localrule: True  # a refusal must be read where the grid was started, before anything waits in a queue
    conda:
        "../envs/framecast.yaml"
    threads: ask.threads
    shell:
        "framecast probe {wildcards.dataset} {wildcards.model} --depth {wildcards.depth} --key {wildcards.key}"
        " 2>&1 | tee -i {log}"


rule train:
    """Train a depth-{wildcards.depth} {wildcards.model} on {wildcards.dataset} with {wildcards.loss}."""
    input:
        ancient(ask.to_train),
    output:
        multiext(f"data/runs/{CELL}/{{key}}/", *RUN_FILES),
    log:
        f"logs/train/{CELL}/{{key}}.log",
    priority: ask.precedence
    conda:
        "../envs/framecast.yaml"
    threads: ask.threads
    resources:
        **ask.resources("train"),
    params:
        cell=CELL,
        in_job=ask.options("--requeue"),
    shell:
        "framecast train {params.cell} --key {wildcards.key}{params.in_job} 2>&1 | (trap '' TERM USR1; exec tee -ia {log})"


rule train_all:
    """Every trained cell."""
    input:
        every_probe,
        every_trained_cell,
    localrule: True
