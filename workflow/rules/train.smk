"""A prepared dataset → data/runs/<cell>/<key>/{model.safetensors, history.csv, run.json}"""


rule train:
    """Train a depth-{wildcards.depth} {wildcards.model} on {wildcards.dataset} with {wildcards.loss}."""
    input:
        ancient(lambda wildcards: study.data_files(wildcards.dataset)),
    output:
        multiext(f"data/runs/{CELL}/{{key}}/", *RUN_FILES),
    log:
        f"logs/train/{CELL}/{{key}}.log",
    conda:
        "../envs/framecast.yaml"
    threads: lambda wildcards: study.params.recipe(wildcards.model).threads
    params:
        cell=lambda wildcards: cell(wildcards).name,
    shell:
        "framecast train {params.cell} --key {wildcards.key} 2>&1 | tee -ia {log}"


rule train_all:
    """Every trained cell."""
    input:
        every_trained_cell(),
    localrule: True
