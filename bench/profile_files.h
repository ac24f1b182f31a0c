// A profile printed, and written into a folder as profile.json and trace.json.
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>

#include "fusec/core/profile_report.h"
#include "fusec/io/file.h"

namespace fusec::bench {

inline void show_profile(const ProfileReport& report, const std::string& folder) {
  std::printf("\n%s\n", report.table().c_str());
  if (folder.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail_user(folder + ": cannot be created: " + error.message());
  io::write_file(folder + "/profile.json", report.json());
  io::write_file(folder + "/trace.json", report.trace());
  std::printf("written: %s/profile.json, %s/trace.json (ui.perfetto.dev opens it)\n",
              folder.c_str(), folder.c_str());
}

}  // namespace fusec::bench
