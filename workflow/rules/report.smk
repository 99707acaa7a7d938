"""Tables, histories and clips → reports/figures/<figure>-<dataset>.svg, reports/report.html"""


rule report:
    """Draw the figures and write the report."""
    input:
        ancient(study.table_files()),
        ancient(every_lost_file),
    output:
        [
            report(
                study.figure_file(figure, dataset),
                caption=f"../report/{figure}.rst",
                category=dataset,
                labels={"figure": figure, "dataset": dataset},
            )
            for figure, dataset in study.figures()
        ],
        study.page_files(),
    log:
        "logs/report.log",
    localrule: True
    conda:
        "../envs/framecast.yaml"
    params:
        key=study.report_key,
    shell:
        "framecast report --key {params.key} 2>&1 | tee -i {log}"
