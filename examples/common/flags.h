// Checks and spellings of flags that several programs have.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace fusec::examples {

constexpr double kMany = 1e9;  // no limit worth naming

// Numbers from `low` to `high`; the message names the nearer end.
CLI::Validator between(double low, double high);
// One of `names`.
CLI::Validator one_of(std::vector<std::string> names);
// What compile() takes for a device; whether the machine has it is found there.
CLI::Validator device();

// An option's value, given or by default, in one spelling for each number: "1e-3" and "0.001" are
// the same setting. "on" or "off" of a flag.
std::string value_of(const CLI::Option& option);

// The command line with --resume for its newest checkpoint, whatever it resumed from itself:
// `resume`, its value.
std::string resume_command(int argc, char** argv, const std::string& resume);

}  // namespace fusec::examples
