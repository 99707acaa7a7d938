"""framecast: every dataset × model × depth × loss × seed cell of params.yaml, and the report about them."""


include: "workflow/rules/common.smk"


configfile: "params.yaml"  # after common.smk, which says in one line what is wrong with it


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


rule all:
    """The whole study: no artefact can go missing unnoticed."""
    default_target: True
    input:
        every_prepared_dataset,
        every_probe,
        every_lost_file,
        study.table_files(),
        study.report_files(),
    localrule: True


onstart:
    # Snakemake starts at most 100 jobs a second, which no grid of ours comes near. To keep to it, every turn of its loop
    # starts a timer whose end is another turn, so each finished job leaves a chain that never ends: of two cores, a run
    # of 200 jobs spent a tenth on them, and the share grows with every job. (A job's own Snakemake has but one to come.)
    workflow.scheduler.job_rate_limiter = None
    driver.started(sys.argv)


onsuccess:
    driver.ended()


onerror:
    driver.ended()
