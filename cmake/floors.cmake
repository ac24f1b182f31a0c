# fusec_floor(name SOURCES a.cpp ... USES lower floors ...)
#   An object library fusec_<name> whose public headers lie in ./include. It sees the include
#   folders of the floors in USES (and of those they use), no others.
function(fusec_floor name)
  cmake_parse_arguments(F "" "" "SOURCES;USES" ${ARGN})
  add_library(fusec_${name} OBJECT ${F_SOURCES})
  if(IS_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/include)
    target_include_directories(fusec_${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/include)
  endif()
  foreach(use ${F_USES})
    target_link_libraries(fusec_${name} PUBLIC fusec_${use})
  endforeach()
  set_property(GLOBAL APPEND PROPERTY FUSEC_FLOORS fusec_${name})
endfunction()

# Links the objects of the named floors into `target`.
function(fusec_link_objects target)
  foreach(floor ${ARGN})
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:fusec_${floor}>)
    target_link_libraries(${target} PRIVATE fusec_${floor})
  endforeach()
  target_link_libraries(${target} PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
endfunction()

# fusec_test(name SOURCES ... FLOORS ... [LIBS ...]): a doctest program, run by ctest.
function(fusec_test name)
  cmake_parse_arguments(T "" "" "SOURCES;FLOORS;LIBS" ${ARGN})
  add_executable(${name} ${CMAKE_SOURCE_DIR}/tests/doctest_main.cpp ${T_SOURCES})
  fusec_link_objects(${name} ${T_FLOORS})
  target_link_libraries(${name} PRIVATE ${T_LIBS})
  add_test(NAME ${name} COMMAND ${name})
  # Sanitized builds have no compiler, so no libfusec.so either.
  if(NOT "fusec" IN_LIST T_LIBS)
    set_property(GLOBAL APPEND PROPERTY FUSEC_TEST_PROGRAMS ${name})
  endif()
endfunction()
