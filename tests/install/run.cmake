# Installs BUILD into a scratch prefix, moves the prefix (an install must not know where it lies), and
# builds and runs consumer/ against it with each of COMPILERS.
function(run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE text ERROR_VARIABLE text)
  if(status)
    message(FATAL_ERROR "${what} failed (${status}): ${ARGN}\n${text}")
  endif()
  set(text "${text}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${SCRATCH})
run("install" ${CMAKE_COMMAND} --install ${BUILD} --prefix ${SCRATCH}/first --strip)
file(RENAME ${SCRATCH}/first ${SCRATCH}/prefix)

file(GLOB_RECURSE headers ${SCRATCH}/prefix/include/*)
foreach(header ${headers})
  file(STRINGS ${header} foreign REGEX "#include [<\"](llvm|mlir|fmt|cuda|nlohmann)")
  if(foreign)
    message(FATAL_ERROR "${header} asks its users for another library: ${foreign}")
  endif()
endforeach()

foreach(compiler ${COMPILERS})
  get_filename_component(name ${compiler} NAME)
  set(build ${SCRATCH}/${name})
  run("configure with ${name}" ${CMAKE_COMMAND} -G ${GENERATOR} -S ${CMAKE_CURRENT_LIST_DIR}/consumer
      -B ${build} -D CMAKE_CXX_COMPILER=${compiler} -D CMAKE_PREFIX_PATH=${SCRATCH}/prefix
      -D CMAKE_BUILD_TYPE=Release)
  run("build with ${name}" ${CMAKE_COMMAND} --build ${build})
  run("run" ${build}/consumer ${build}/model.fsc)
  # silu(2) * 6 with the weights of main.cpp: 2 / (1 + e^-2) * 6.
  if(NOT text MATCHES "y = 10\\.569[0-9]* in 1 kernel")
    message(FATAL_ERROR "the program printed:\n${text}")
  endif()
  run("run the saved plan" ${build}/runner ${build}/model.fsc)
  if(NOT text MATCHES "loaded: y = 10\\.569[0-9]*")
    message(FATAL_ERROR "the program without a compiler printed:\n${text}")
  endif()
endforeach()

run("the installed tool" ${SCRATCH}/prefix/bin/fusec --list)
if(NOT text MATCHES "vision-gpt:tiny")
  message(FATAL_ERROR "fusec --list printed:\n${text}")
endif()
