#include "reader.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace fusec::fuzz {

const std::string& as_file(std::string_view bytes) {
  static const std::string path = [] {
    std::error_code none;
    std::string folder = std::filesystem::is_directory("/dev/shm", none) ? "/dev/shm" : "/tmp";
    return folder + "/fusec-reader-" + std::to_string(getpid());
  }();
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

}  // namespace fusec::fuzz
