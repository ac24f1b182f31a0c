# lit configuration: every .mlir and .test file under tests/ is one test, driven by its RUN lines.
# Run all by hand with `lit-22 tests`, or one with `lit-22 -v tests/passes/schedule.mlir`; another build
# folder than build/ is named by `--param build=DIR`. ctest runs each file as a test of its own.
import os

import lit.formats

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
build = os.path.abspath(lit_config.params.get("build", os.path.join(root, "build")))
llvm = lit_config.params.get("llvm", "/usr/lib/llvm-22")

config.name = "fusec"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["inputs"]
config.test_source_root = os.path.dirname(os.path.abspath(__file__))
config.test_exec_root = os.path.join(build, "tests", "lit")
config.environment["PATH"] = os.pathsep.join([os.path.join(llvm, "bin"), "/usr/bin", "/bin"])
# What depends on the machine is fixed: fusion leaves enough units of work for every worker.
config.environment["FUSEC_THREADS"] = "2"
# Code compiled by tests is kept with the tests, whoever runs them.
config.environment["FUSEC_CACHE_DIR"] = os.path.join(build, "test-cache")
config.substitutions.append(("%fusec", os.path.join(build, "bin", "fusec")))
