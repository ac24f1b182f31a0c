// Marks what libfusec.so exports; everything else in it is hidden.
#pragma once

#define FUSEC_API __attribute__((visibility("default")))
