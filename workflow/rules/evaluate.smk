"""Trained cells and baselines → data/scores/<cell>/<key>/{scores.csv, sequences.safetensors, clips.safetensors, score.json};
all of them together → reports/{scores,horizon,comparisons,loss_curves}.csv, reports/metrics.json
"""


rule evaluate:
    """Score {wildcards.model} (depth {wildcards.depth}) on the test split of {wildcards.dataset}."""
    input:
        ancient(ask.to_evaluate),
    output:
        multiext(f"data/scores/{CELL}/{{key}}/", *SCORE_FILES),
    log:
        f"logs/evaluate/{CELL}/{{key}}.log",
    priority: 1  # what is trained is looked at before the next training
    conda:
        "../envs/framecast.yaml"
    threads: ask.threads
    resources:
        **ask.resources("evaluate"),
    params:
        cell=CELL,
        in_job=ask.options(),
    shell:
        "framecast evaluate {params.cell} --key {wildcards.key}{params.in_job} 2>&1 | tee -i {log}"


rule evaluate_baseline:
    """Score the baseline {wildcards.model} on the test split of {wildcards.dataset}."""
    input:
        ancient(ask.to_evaluate),
    output:
        multiext(f"data/scores/{BASELINE}/{{key}}/", *SCORE_FILES),
    log:
        f"logs/evaluate/{BASELINE}/{{key}}.log",
    conda:
        "../envs/framecast.yaml"
    resources:
        **ask.resources("evaluate", gpu=False),
    params:
        cell=BASELINE,
    shell:
        "framecast evaluate {params.cell} --key {wildcards.key} --device cpu 2>&1 | tee -i {log}"


rule tables:
    """Gather every score into the tables that git keeps."""
    input:
        ancient(every_score),
        ancient(every_lost_training),
    output:
        study.table_files(),
    log:
        "logs/tables.log",
    localrule: True
    conda:
        "../envs/framecast.yaml"
    params:
        key=study.tables_key,
    shell:
        "framecast tables --key {params.key} 2>&1 | tee -i {log}"


rule evaluate_all:
    """Every score and table."""
    input:
        every_score,
        study.table_files(),
    localrule: True


for name in study.params.studies:

    rule:
        """Every trained cell of one study, its scores, and those of the baselines beside them."""
        name:
            f"study_{name}"
        input:
            ask.of(name),
        localrule: True
