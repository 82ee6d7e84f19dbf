from milepost_orchestrator.entrypoints.main import main

main()
