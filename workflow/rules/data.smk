"""Raw files or generators → data/processed/<dataset>/<key>/{arrays.safetensors, manifest.json}"""


rule prepare:
    """Build the arrays of {wildcards.dataset}."""
    output:
        multiext("data/processed/{dataset}/{key}/", *DATA_FILES),
    log:
        "logs/prepare/{dataset}/{key}.log",
    priority: 2  # the longest training may wait for it
    localrule: True  # it may fetch, and compute nodes often have no network
    conda:
        "../envs/framecast.yaml"
    shell:
        "framecast prepare {wildcards.dataset} --key {wildcards.key} 2>&1 | tee -i {log}"


rule data:
    """Every prepared dataset."""
    input:
        every_prepared_dataset,
    localrule: True
