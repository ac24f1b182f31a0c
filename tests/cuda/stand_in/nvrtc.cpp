// A libnvrtc.so.13 that takes every text for its own machine code, but for those that hold "#error".
#include <cstring>
#include <string>

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int nvrtcVersion(int* major, int* minor) { return *major = 13, *minor = 99, 0; }
EXPORT const char* nvrtcGetErrorString(int) { return "STAND_IN_ERROR"; }
EXPORT int nvrtcGetNumSupportedArchs(int* count) { return *count = 1, 0; }
EXPORT int nvrtcGetSupportedArchs(int* archs) { return *archs = 90, 0; }
EXPORT int nvrtcCreateProgram(std::string** program, const char* source, const char*, int,
                              const char* const*, const char* const*) {
  return *program = new std::string(source), 0;
}
EXPORT int nvrtcDestroyProgram(std::string** program) { return delete *program, 0; }
EXPORT int nvrtcCompileProgram(std::string* program, int, const char* const*) {
  return program->find("#error") == std::string::npos ? 0 : 6;
}
EXPORT int nvrtcGetCUBINSize(std::string* program, size_t* size) {
  return *size = program->size() + 1, 0;
}
EXPORT int nvrtcGetCUBIN(std::string* program, char* cubin) {
  return std::memcpy(cubin, program->c_str(), program->size() + 1), 0;
}
EXPORT int nvrtcGetProgramLogSize(std::string*, size_t* size) { return *size = 1, 0; }
EXPORT int nvrtcGetProgramLog(std::string*, char* log) { return *log = 0, 0; }
