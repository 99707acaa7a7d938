"""Trained cells and baselines → data/scores/<cell>/<key>/{scores.csv, sequences.safetensors, clips.safetensors, score.json};
all of them together → reports/{scores,horizon,comparisons,loss_curves}.csv, reports/metrics.json
"""


rule evaluate:
    """Score {wildcards.model} (depth {wildcards.depth}) on the test split of {wildcards.dataset}."""
    input:
        ancient(lambda wildcards: need(study.data_files(wildcards.dataset))),
        ancient(lambda wildcards: need(study.run_files(cell(wildcards)))),
    output:
        multiext(f"data/scores/{CELL}/{{key}}/", *SCORE_FILES),
    log:
        f"logs/evaluate/{CELL}/{{key}}.log",
    conda:
        "../envs/framecast.yaml"
    threads: lambda wildcards: study.params.recipe(wildcards.model).threads
    resources:
        **asked(
            "evaluate",
            cpus_per_task=cluster.cpus,
            gpu_model=cluster.gpu_type,
            slurm_partition=cluster.partition,
            slurm_account=cluster.account,
            qos=cluster.qos,
            constraint=cluster.constraint,
            slurm_extra=cluster.extra,
        ),
        gpu=gpu,
    params:
        cell=lambda wildcards: cell(wildcards).name,
        in_job=in_job,
    shell:
        "framecast evaluate {params.cell} --key {wildcards.key}{params.in_job} 2>&1 | tee -i {log}"


rule evaluate_baseline:
    """Score the baseline {wildcards.model} on the test split of {wildcards.dataset}."""
    input:
        ancient(lambda wildcards: need(study.data_files(wildcards.dataset))),
    output:
        multiext(f"data/scores/{BASELINE}/{{key}}/", *SCORE_FILES),
    log:
        f"logs/evaluate/{BASELINE}/{{key}}.log",
    conda:
        "../envs/framecast.yaml"
    resources:
        **asked(
            "evaluate",
            slurm_partition=cluster.cpu_partition or cluster.partition,
            slurm_account=cluster.account,
            qos=cluster.qos,
            slurm_extra=cluster.extra,
        ),
    params:
        cell=lambda wildcards: cell(wildcards).name,
    shell:
        "framecast evaluate {params.cell} --key {wildcards.key} --device cpu 2>&1 | tee -i {log}"


rule tables:
    """Gather every score into the tables that git keeps."""
    input:
        ancient(every_score),
        ancient(every_trained_cell),
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
