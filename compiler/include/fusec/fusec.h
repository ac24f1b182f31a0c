// Everything a user of Fusec includes.
#pragma once

#include "fusec/compile.h"
#include "fusec/ops/composite.h"
#include "fusec/ops/grad.h"
#include "fusec/ops/graph.h"
#include "fusec/ops/ops.h"
