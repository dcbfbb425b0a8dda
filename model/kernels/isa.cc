#include "isa.h"

#include <cstdlib>
#include <cstring>

namespace isa {
namespace {

#define ENTRY(name) {#name, name::kForward, name::kBackward, name::kMatrix, name::kLoops},
constexpr InstructionSet kInstructionSets[] = {FOR_EACH_ISA(ENTRY)};
#undef ENTRY

bool IsSupported(const InstructionSet& set) {
#if defined(__x86_64__)
  if (std::strcmp(set.name, "avx512") == 0) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
  if (std::strcmp(set.name, "avx2") == 0) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return true;
}

const InstructionSet& Choose() {
  const char* wanted = std::getenv("CONV_POOL_ISA");
  const InstructionSet* set = kInstructionSets;
  for (; std::strcmp(set->name, "generic") != 0; ++set) {
    if (IsSupported(*set) && (wanted == nullptr || std::strcmp(wanted, set->name) == 0)) break;
  }
  return *set;
}

}  // namespace

const InstructionSet& Chosen() {
  static const InstructionSet& set = Choose();
  return set;
}

}  // namespace isa
