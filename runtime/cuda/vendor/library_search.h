// Where the libraries of the CUDA toolkit lie: opened when they are first needed, never linked.
#pragma once

#include <string>
#include <vector>

namespace fusec::cuda {

struct OpenLibrary {
  void* handle = nullptr;  // null: `problem` says why
  std::string name;        // "libnvrtc.so.13", or the path where it was found
  std::string problem;     // the names tried, and what to do
};

// Opens the first of `sonames` that is found, never to be closed: in the folders of FUSEC_CUDA_PATH
// if it is set (and nowhere else), by the dynamic loader's own search, in the default places of the
// toolkit, beside the library or program that holds this code.
OpenLibrary open_toolkit_library(const std::vector<std::string>& sonames);

// The shared library (or program) that holds this address, as the loader knows it; "" if unknown.
std::string file_of(const void* address);
// Folder of the shared library (or program) that holds this address; "" if unknown.
std::string folder_of(const void* address);

// dlerror(), or "unknown dlopen error".
std::string loader_error();

}  // namespace fusec::cuda
