// Everything a user of Fusec includes.
#pragma once

#include "fusec/compile.h"
#include "fusec/ops/composite.h"
#include "fusec/ops/grad.h"
#include "fusec/ops/graph.h"
#include "fusec/ops/loss.h"
#include "fusec/ops/moe.h"
#include "fusec/ops/ops.h"
#include "fusec/ops/optim.h"
#include "fusec/ops/random.h"
#include "fusec/ops/reductions.h"
#include "fusec/ops/views.h"
