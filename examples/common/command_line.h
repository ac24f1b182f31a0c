// What the programs' command lines have in common: an unknown option is answered first, with the
// nearest known one, and main() ends every failure the same way.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace fusec::examples {

// User Error for the first argument that no option took, with the nearest one. Requires that the
// app allows extras and marks nothing as required: CLI11 would complain about those first. A key of
// `config_file` that no option has is named with its line.
void refuse_unknown(const CLI::App& app, const std::string& config_file = "");

// Runs `action`, which returns the exit code. An Error or another exception becomes one paragraph
// "<program>: ..." on stderr, and exit code 1. A limit on file sizes is an error like a full disk,
// rather than a signal that ends the program.
int run_program(const char* program, const std::function<int()>& action);

}  // namespace fusec::examples
