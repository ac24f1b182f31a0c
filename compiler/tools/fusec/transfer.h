// `fusec import` and `fusec export`: models of other programs in and out.
#pragma once

#include <string>
#include <vector>

namespace fusec::tool {

// Each takes the words behind its own and returns the exit status: 0, 1 for a check that failed, 2
// for wrong words.
int import_command(const std::vector<std::string>& words);
int export_command(const std::vector<std::string>& words);

}  // namespace fusec::tool
