// Gradients of convolution, activation and pooling, written once over vectors (see simd.h).
//
// The gradient of a window reaches one of its four positions (or none, where ReLU is flat). The positions that it
// reaches are listed, and each adds a multiple of an image patch to its filter's gradient, and a multiple of its filter
// to a patch of the image's gradient: less than a quarter of the dense work. Vectors run along channels and columns.
// Images are unfolded beforehand so that every vector of every patch is aligned: a load of 64 bytes that crosses a
// cache line costs two.

#include "isa.h"
#include "simd.h"

namespace conv_pool {
namespace {

constexpr int kMaxRunVectors = 8;

// Floats that unfolded images, and weights, may take of the first-level cache, which has 32 KiB or more on every
// processor of the last decade.
constexpr int64_t kImageCacheFloats = 10000;
constexpr int64_t kMaxTogether = 8;
constexpr int64_t kWeightCacheFloats = 6400;

// How an image is unfolded. The pixel at (y, x) has, in aligned vectors: its channels, as far as they fill vectors (the
// `whole` ones), and of the `rest` channels its own and those of the pixels to its right. A patch is then `steps`
// pieces, each of `vectors` vectors at fixed offsets from the patch's first pixel:
//   - the whole vectors of `kernel` pixels;
//   - vectors of the rest: one of every rest_columns-th pixel; or one run of all kernel x rest floats, if that takes
//     fewer vectors, and then every pixel has its own copy of the run.
// If a whole kernel row fits half a vector (one channel), a vector holds rows_per_step such rows, and a piece is that
// many kernel rows.
// Weights and their gradients are kept as patches: [filter][step][vector][lane].
struct Patches {
  int64_t kernel, whole, rest, rest_columns, rest_vectors;  // rest_columns 0: runs, of rest_vectors vectors
  int64_t rows_per_step, steps, vectors;
  int64_t pixel, row, step;          // strides in the unfolded image, in floats
  int64_t piece, filter;             // strides in weights, in floats
  int64_t rows, columns;             // pixels that are unfolded

  explicit Patches(const Problem& p) {
    kernel = p.kernel;
    whole = p.channels / kLanes;
    rest = p.channels % kLanes;
    rest_columns = rest == 0 ? 1 : Min(kernel, kLanes / rest);
    const int64_t grouped = rest == 0 ? 0 : CeilDiv(kernel, rest_columns);
    const int64_t run = CeilDiv(kernel * rest, kLanes);
    rest_vectors = rest == 0 ? 0 : 1;
    if (run < grouped && run <= kMaxRunVectors) {
      rest_columns = 0;
      rest_vectors = run;
    }
    vectors = whole * kernel + (rest_columns == 0 ? run : grouped);
    const bool several_rows = whole == 0 && rest_columns == kernel;
    rows_per_step = several_rows ? Min(kernel, kLanes / (rest * kernel)) : 1;
    steps = CeilDiv(kernel, rows_per_step);

    pixel = (whole + rest_vectors) * kLanes;
    rows = whole > 0 ? p.height : 2 * p.PooledHeight() + (steps - 1) * rows_per_step;
    columns = whole > 0 ? p.width : 2 * p.PooledWidth() + (rest_columns == 0 ? 0 : (grouped - 1) * rest_columns);
    row = columns * pixel;
    step = rows_per_step * row;
    piece = vectors * kLanes;
    filter = steps * piece;
  }

  // Where vector v of a piece is, from the first pixel of the patch in that piece's first row.
  int64_t Offset(int64_t v) const {
    if (v < whole * kernel) return v / whole * pixel + v % whole * kLanes;
    const int64_t i = v - whole * kernel;
    return rest_columns == 0 ? (whole + i) * kLanes : i * rest_columns * pixel + whole * kLanes;
  }

  // Where element (c, ky, kx) of a filter is.
  int64_t Index(int64_t c, int64_t ky, int64_t kx) const {
    const int64_t begin = ky / rows_per_step * piece;
    if (c < whole * kLanes) return begin + (kx * whole + c / kLanes) * kLanes + c % kLanes;
    const int64_t first = begin + whole * kernel * kLanes, rest_channel = c - whole * kLanes;
    if (rest_columns == 0) return first + kx * rest + rest_channel;
    return first + kx / rest_columns * kLanes + ky % rows_per_step * kernel * rest + kx % rest_columns * rest +
           rest_channel;
  }
};

int64_t BackwardWeightFloats(const Problem& p) { return p.filters * Patches(p).filter; }

void PackBackwardWeight(const Problem& p, const float* weight, float* packed) {
  const Patches patches(p);
  memset(packed, 0, p.filters * patches.filter * sizeof(float));
  for (int64_t m = 0; m < p.filters; ++m) {
    for (int64_t c = 0; c < p.channels; ++c) {
      for (int64_t ky = 0; ky < p.kernel; ++ky) {
        for (int64_t kx = 0; kx < p.kernel; ++kx) {
          packed[m * patches.filter + patches.Index(c, ky, kx)] = *weight++;
        }
      }
    }
  }
}

void ReduceWeight(const Problem& p, float* const* partials, int64_t count, int64_t filter, float* grad_weight) {
  const Patches patches(p);
  float* sum = partials[0] + filter * patches.filter;
  for (int64_t i = 1; i < count; ++i) {
    const float* part = partials[i] + filter * patches.filter;
    for (int64_t j = 0; j < patches.filter; j += kLanes) {
      StoreAligned(sum + j, LoadAligned(sum + j) + LoadAligned(part + j));
    }
  }
  float* to = grad_weight + filter * p.channels * p.kernel * p.kernel;
  for (int64_t c = 0; c < p.channels; ++c) {
    for (int64_t ky = 0; ky < p.kernel; ++ky) {
      for (int64_t kx = 0; kx < p.kernel; ++kx) *to++ = sum[patches.Index(c, ky, kx)];
    }
  }
}

// The rest of the channels, when a vector holds those of `Rows` rows; from each row come `run` floats.
template <int Rows>
void UnfoldRows(const Patches& patches, const float* rest_hwc, int64_t width, int64_t run, float* unfolded) {
  IntVec lanes[Rows] = {};  // of (what there is, row j): the first j runs stay
  for (int64_t j = 0; j < Rows; ++j) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[j][lane] = static_cast<int32_t>(lane < j * run ? lane : kLanes + (lane - j * run) % kLanes);
    }
  }
  for (int64_t y = 0; y < patches.rows; ++y) {
    for (int64_t x = 0; x < patches.columns; ++x) {
      const float* from = rest_hwc + y * width + x * patches.rest;
      Vec v = Load(from);
      UNROLLED for (int64_t j = 1; j < Rows; ++j) v = __builtin_shuffle(v, Load(from + j * width), lanes[j]);
      StoreAligned(unfolded + y * patches.row + x * patches.pixel, v);
    }
  }
}

// image [C, H, W] -> unfolded. Lanes without a meaning get some of the image's values.
void Unfold(const Problem& p, const Patches& patches, const float* image, float* rest_hwc, float* unfolded) {
  const int64_t pixels = p.height * p.width;
  for (int64_t j = 0; j < patches.whole; ++j) {
    TransposeOverwriting(image + j * kLanes * pixels, pixels, kLanes, pixels, unfolded + j * kLanes,
                         patches.pixel);
  }
  if (patches.rest > 0) {
    TransposeOverwriting(image + patches.whole * kLanes * pixels, pixels, patches.rest, pixels, rest_hwc, patches.rest);
    const int64_t width = p.width * patches.rest, run = p.kernel * patches.rest;
    switch (patches.rows_per_step) {
      case 1:
        for (int64_t y = 0; y < patches.rows; ++y) {
          for (int64_t x = 0; x < patches.columns; ++x) {
            const float* from = rest_hwc + y * width + x * patches.rest;
            float* to = unfolded + y * patches.row + x * patches.pixel + patches.whole * kLanes;
            for (int64_t v = 0; v < patches.rest_vectors; ++v) {
              StoreAligned(to + v * kLanes, Load(from + v * kLanes));
            }
          }
        }
        break;
      case 2: UnfoldRows<2>(patches, rest_hwc, width, run, unfolded); break;
      case 3: UnfoldRows<3>(patches, rest_hwc, width, run, unfolded); break;
      // No more: rows_per_step <= kernel, and rows_per_step * kernel <= 16 lanes.
      case 4: UnfoldRows<4>(patches, rest_hwc, width, run, unfolded); break;
    }
  }
}

// The adjoint of Unfold: unfolded gradient -> gradient of image.
void Fold(const Problem& p, const Patches& patches, const float* unfolded, float* rest_hwc, float* image) {
  const int64_t pixels = p.height * p.width;
  for (int64_t j = 0; j < patches.whole; ++j) {
    TransposeOverreading(unfolded + j * kLanes, patches.pixel, pixels, kLanes, image + j * kLanes * pixels, pixels);
  }
  if (patches.rest == 0) return;
  const int64_t width = p.width * patches.rest, run = p.kernel * patches.rest;
  memset(rest_hwc, 0, pixels * patches.rest * sizeof(float));
  if (patches.rows_per_step > 1) {
    for (int64_t y = 0; y < patches.rows; ++y) {
      for (int64_t x = 0; x < patches.columns; ++x) {
        const float* from = unfolded + y * patches.row + x * patches.pixel;
        for (int64_t j = 0; j < patches.rows_per_step && y + j < p.height; ++j) {
          float* to = rest_hwc + (y + j) * width + x * patches.rest;
          for (int64_t i = 0; i < run; ++i) to[i] += from[j * run + i];
        }
      }
    }
  } else {
    // A pixel's sum: its own gradient, its left neighbour's shifted by one pixel, and so on. Lanes that have no meaning
    // are multiples of the padding of weights, 0.
    IntVec shift;
    for (int64_t lane = 0; lane < kLanes; ++lane) shift[lane] = static_cast<int32_t>(lane + patches.rest);
    for (int64_t y = 0; y < patches.rows; ++y) {
      Vec sum[kMaxRunVectors + 1] = {};
      for (int64_t x = 0; x < p.width; ++x) {
        const float* from = unfolded + y * patches.row + x * patches.pixel + patches.whole * kLanes;
        for (int64_t v = 0; v < patches.rest_vectors; ++v) {
          sum[v] = __builtin_shuffle(sum[v], sum[v + 1], shift);
          if (x < patches.columns) sum[v] += LoadAligned(from + v * kLanes);
        }
        Store(rest_hwc + y * width + x * patches.rest, sum[0]);  // too much, but what follows overwrites it
      }
    }
    // Nothing follows the last row of an odd image: what was written too much is there.
    if (patches.rows < p.height) {
      memset(rest_hwc + patches.rows * width, 0, (p.height - patches.rows) * width * sizeof(float));
    }
  }
  TransposeOverreading(rest_hwc, patches.rest, pixels, patches.rest, image + patches.whole * kLanes * pixels, pixels);
}

// Elements of a sum of multiples: which, and how much of it. Lists are written without branches: every candidate is
// stored, and the end moves on only behind those that count. Hence kLanes elements of slack.
struct List {
  int32_t* index;
  float* value;
  int64_t count;
};

// Appends the positions of one filter in one image that a gradient reaches, as 4 * window + place in it, counted
// from first_position; returns the sum of these gradients.
// kMax: `saved` names the place that each window's gradient goes to. kMean: the place is `place`, for all windows.
// Of the output only the slope of tanh needs to be known.
template <Pooling pooling, bool is_tanh>
float AppendPositions(const float* out, const uint8_t* saved, const float* grad_out, int place, int64_t windows,
                      int32_t first_position, List* list) {
  constexpr bool kIsMax = pooling == Pooling::kMax;
  const float* slopes = reinterpret_cast<const float*>(saved);
  int64_t i = 0;
  float sum = 0;
#if defined(__AVX512F__)
  if constexpr (kIsMax || !is_tanh) {
    const __m512i four_each = _mm512_set_epi32(60, 56, 52, 48, 44, 40, 36, 32, 28, 24, 20, 16, 12, 8, 4, 0);
    Vec sums = {};
    for (; i < windows; i += kLanes) {
      const __mmask16 valid = windows - i < kLanes ? (1u << (windows - i)) - 1 : 0xFFFF;
      const __m512i code = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(valid, saved + i));
      const __mmask16 passes = kIsMax ? _mm512_mask_cmplt_epi32_mask(valid, code, _mm512_set1_epi32(4))
                                      : _mm512_mask_test_epi32_mask(valid, code, _mm512_set1_epi32(1 << place));
      Vec value = _mm512_maskz_mov_ps(passes, _mm512_maskz_loadu_ps(valid, grad_out + i));
      if constexpr (!kIsMax) value *= 0.25f;
      if constexpr (kIsMax && is_tanh) {
        const Vec y = _mm512_maskz_loadu_ps(valid, out + i);
        value *= 1.0f - y * y;
      }
      sums += value;
      const __mmask16 active = _mm512_cmp_ps_mask(value, _mm512_setzero_ps(), _CMP_NEQ_UQ);
      const __m512i position = _mm512_add_epi32(
          _mm512_add_epi32(four_each, kIsMax ? code : _mm512_set1_epi32(place)),
          _mm512_set1_epi32(first_position + static_cast<int32_t>(4 * i)));
      // Compressed in a register, then stored whole: compressing stores are slow on Zen 4 and 5.
      _mm512_storeu_ps(list->value + list->count, _mm512_maskz_compress_ps(active, value));
      _mm512_storeu_si512(list->index + list->count, _mm512_maskz_compress_epi32(active, position));
      list->count += __builtin_popcount(active);
    }
    for (int lane = 0; lane < kLanes; ++lane) sum += sums[lane];
  }
#endif
  for (; i < windows; ++i) {
    float slope = saved[i] < 4;
    if constexpr (!kIsMax) {
      slope = 0.25f * (is_tanh ? slopes[4 * i + place] : static_cast<float>(saved[i] >> place & 1));
    } else if constexpr (is_tanh) {
      slope = 1 - out[i] * out[i];
    }
    const float value = slope == 0 ? 0 : grad_out[i] * slope;
    sum += value;
    list->value[list->count] = value;
    list->index[list->count] = first_position + static_cast<int32_t>(4 * i) + (kIsMax ? saved[i] : place);
    list->count += value != 0;
  }
  return sum;
}

float AppendPositions(const Problem& p, const float* out, const uint8_t* saved, const float* grad_out,
                      int32_t first_position, List* list) {
  const int64_t windows = p.Windows();
  float sum = 0;
  if (p.pooling == Pooling::kMean) {
    const auto append =
        p.SavesSlopes() ? AppendPositions<Pooling::kMean, true> : AppendPositions<Pooling::kMean, false>;
    for (int place = 0; place < 4; ++place) sum += append(out, saved, grad_out, place, windows, first_position, list);
    return sum;
  }
  const auto append = p.activation == Activation::kTanh ? AppendPositions<Pooling::kMax, true>
                                                        : AppendPositions<Pooling::kMax, false>;
  return append(out, saved, grad_out, 0, windows, first_position, list);
}

constexpr int kMaxBlockVectors = 8;
constexpr int kMaxBlockSteps = 5;

// Some of a patch's steps, and some of their vectors: as many as registers can sum.
struct Block {
  int64_t steps, vectors;
  int64_t vector_offset[kMaxBlockVectors];  // where they are in an unfolded image, in floats
  int64_t step, piece;                      // strides from step to step in an unfolded image, and in weights
  int64_t in_image, in_filter;              // where it begins
};

// sum += value * patch, over a list of positions: the gradient of one filter.
// If the sums are few, several elements of the list are summed separately, so that no addition waits for the last one.
template <int Steps, int Vectors>
void AddPatches(const List& list, const float* unfolded, const int32_t* position_offset, const Block& block,
                float* grad_filter) {
  unfolded += block.in_image;
  grad_filter += block.in_filter;
  constexpr int kWays = Steps * Vectors >= 6 ? 1 : Steps * Vectors >= 3 ? 2 : 4;
  Vec sum[kWays][Steps][Vectors] = {};
  int64_t offset[Vectors];
  UNROLLED for (int v = 0; v < Vectors; ++v) offset[v] = block.vector_offset[v];
  UNROLLED for (int s = 0; s < Steps; ++s) {
    UNROLLED for (int v = 0; v < Vectors; ++v) sum[0][s][v] = LoadAligned(grad_filter + s * block.piece + v * kLanes);
  }
  const int64_t step = block.step;
  const auto add = [&](int64_t i, Vec(&to)[Steps][Vectors]) __attribute__((always_inline)) {
    const Vec value = Broadcast(list.value[i]);
    const float* patch = unfolded + position_offset[list.index[i]];
    UNROLLED for (int s = 0; s < Steps; ++s) {
      // Hides from the compiler that offset[v] + s * step could be computed beforehand: that takes too many registers.
      asm("" : "+r"(patch));
      UNROLLED for (int v = 0; v < Vectors; ++v) to[s][v] += value * LoadAligned(patch + offset[v]);
      patch += step;
    }
  };
  int64_t i = 0;
  for (; i + kWays <= list.count; i += kWays) {
    UNROLLED for (int way = 0; way < kWays; ++way) add(i + way, sum[way]);
  }
  for (; i < list.count; ++i) add(i, sum[0]);
  UNROLLED for (int s = 0; s < Steps; ++s) {
    UNROLLED for (int v = 0; v < Vectors; ++v) {
      Vec total = sum[0][s][v];
      UNROLLED for (int way = 1; way < kWays; ++way) total += sum[way][s][v];
      StoreAligned(grad_filter + s * block.piece + v * kLanes, total);
    }
  }
}

// A filter, by its place in the packed weights, and its factor.
struct Multiple {
  int32_t filter;
  float value;
};

// Lists of the same capacity, one after the other.
struct Lists {
  Multiple* multiples;
  int32_t* count;
  int64_t capacity;
};

// sum += value * filter, over the list of filters of each position: the gradients of the patches that begin there.
template <int Steps, int Vectors>
void AddFilters(const Lists& lists, const int32_t* order, int64_t positions, const float* packed_weight,
                const Block& block, const int32_t* position_offset, float* grad) {
  packed_weight += block.in_filter;
  grad += block.in_image;
  int64_t offset[Vectors];
  UNROLLED for (int v = 0; v < Vectors; ++v) offset[v] = block.vector_offset[v];
  for (int64_t i = 0; i < positions; ++i) {
    const int64_t position = order[i];
    const Multiple* multiple = lists.multiples + position * lists.capacity;
    const Multiple* const end = multiple + lists.count[position];
    float* patch = grad + position_offset[position];
    Vec sum[Steps][Vectors];
    float* row = patch;
    UNROLLED for (int s = 0; s < Steps; ++s) {
      asm("" : "+r"(row));  // see AddPatches
      UNROLLED for (int v = 0; v < Vectors; ++v) sum[s][v] = LoadAligned(row + offset[v]);
      row += block.step;
    }
    for (; multiple != end; ++multiple) {
      const Vec value = Broadcast(multiple->value);
      const float* weight = packed_weight + multiple->filter;
      UNROLLED for (int s = 0; s < Steps; ++s) {
        UNROLLED for (int v = 0; v < Vectors; ++v) sum[s][v] += value * LoadAligned(weight + v * kLanes);
        weight += block.piece;
      }
    }
    row = patch;
    UNROLLED for (int s = 0; s < Steps; ++s) {
      asm("" : "+r"(row));
      UNROLLED for (int v = 0; v < Vectors; ++v) StoreAligned(row + offset[v], sum[s][v]);
      row += block.step;
    }
  }
}

// The functions for a block of a given size.
struct BlockFunctions {
  decltype(&AddPatches<1, 1>) add_patches;
  decltype(&AddFilters<1, 1>) add_filters;
};

template <int Steps, int Vectors>
constexpr BlockFunctions BlockFunctionsIfTheyFit() {
  if constexpr (Steps * Vectors <= kMaxSums) {
    return {AddPatches<Steps, Vectors>, AddFilters<Steps, Vectors>};
  } else {
    return {};
  }
}

template <int... Index>
const BlockFunctions& BlockFunctionsOf(const Block& block, std::integer_sequence<int, Index...>) {
  static constexpr BlockFunctions kFunctions[] = {
      BlockFunctionsIfTheyFit<Index / kMaxBlockVectors + 1, Index % kMaxBlockVectors + 1>()...};
  return kFunctions[(block.steps - 1) * kMaxBlockVectors + block.vectors - 1];
}

const BlockFunctions& BlockFunctionsOf(const Block& block) {
  return BlockFunctionsOf(block, std::make_integer_sequence<int, kMaxBlockSteps * kMaxBlockVectors>());
}

// A patch cut into blocks of at most max_sums vectors, as even as can be.
class Blocks {
 public:
  Blocks(const Patches& patches, int64_t max_sums) : patches_(patches) {
    vectors_ = CeilDiv(patches.vectors, CeilDiv(patches.vectors, Min(kMaxBlockVectors, max_sums)));
    const int64_t most_steps = Min(kMaxBlockSteps, max_sums / vectors_);
    steps_ = CeilDiv(patches.steps, CeilDiv(patches.steps, most_steps));
    across_ = CeilDiv(patches.vectors, vectors_);
  }
  int64_t count() const { return across_ * CeilDiv(patches_.steps, steps_); }
  Block operator[](int64_t i) const {
    const int64_t v = i % across_ * vectors_, s = i / across_ * steps_;
    Block block = {Min(steps_, patches_.steps - s), Min(vectors_, patches_.vectors - v), {}, patches_.step,
                   patches_.piece, s * patches_.step, s * patches_.piece + v * kLanes};
    for (int64_t j = 0; j < block.vectors; ++j) block.vector_offset[j] = patches_.Offset(v + j);
    return block;
  }

 private:
  const Patches& patches_;
  int64_t steps_, vectors_, across_;
};

struct BackwardScratch {
  float *rest_hwc, *unfolded, *grad;
  int32_t *position_offset, *order, *length_begin;
  Block* blocks;   // of the sums of one filter
  List positions[2];  // of one filter, and of the next
  Lists filters;   // of each position
  int64_t together, image, image_positions, patch_blocks, floats;
  BackwardScratch(const Problem& p, const Patches& patches, bool with_image, float* base) {
    // As many images together as the first-level cache holds, so that lists are longer.
    image = patches.rows * patches.row;
    together = Max(1, Min(kMaxTogether, kImageCacheFloats / image));
    image_positions = 4 * p.Windows();
    const int64_t all = together * image_positions;
    // Slack: whole vectors are read and written at the last pixels, and several rows per vector reach below the last.
    const int64_t slack = (patches.rest_vectors + 1) * kLanes + patches.rows_per_step * p.width * patches.rest;
    Arena arena{base};
    rest_hwc = arena.Take(p.height * p.width * patches.rest + slack);
    unfolded = arena.Take(together * image);
    position_offset = arena.TakeInts(all);
    patch_blocks = Blocks(patches, kMaxSums).count();
    blocks = reinterpret_cast<Block*>(arena.Take(patch_blocks * sizeof(Block) / sizeof(float)));
    for (List& list : positions) list = {arena.TakeInts(all + kLanes), arena.Take(all + kLanes), 0};
    if (with_image) {
      grad = arena.Take(together * image);
      order = arena.TakeInts(all);
      length_begin = arena.TakeInts(p.filters + 2);
      filters.capacity = p.filters;
      filters.multiples = reinterpret_cast<Multiple*>(arena.Take(all * p.filters * 2));
      filters.count = arena.TakeInts(all);
    }
    floats = arena.used;
  }
};

int64_t BackwardScratchFloats(const Problem& p, bool with_image) {
  return BackwardScratch(p, Patches(p), with_image, nullptr).floats;
}

// Orders the positions by the length of their lists, longest first: if the number of rounds of a loop seldom changes,
// the processor predicts its end. Returns how many positions in [first, past) have any filter at all.
int64_t SortByLength(const Lists& lists, int64_t first, int64_t past, int32_t* begin, int32_t* order) {
  // Counting sort, longest first: begin[i] is where the lists of length capacity - i go.
  memset(begin, 0, (lists.capacity + 2) * sizeof(int32_t));
  for (int64_t i = first; i < past; ++i) ++begin[lists.capacity - lists.count[i] + 1];
  for (int64_t i = 1; i <= lists.capacity; ++i) begin[i] += begin[i - 1];
  const int64_t used = begin[lists.capacity];
  for (int64_t i = first; i < past; ++i) {
    order[begin[lists.capacity - lists.count[i]]++] = static_cast<int32_t>(i);
  }
  return used;
}

// Fetches the next images while these are worked on: they come from beyond the second-level cache, each in pieces too
// short for the processor to fetch them ahead by itself.
inline void Prefetch(const void* begin, int64_t bytes) {
  const char* bytes_begin = static_cast<const char*>(begin);
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(bytes_begin + i, 0, 2);
}

void BackwardImages(const Problem& p, const float* x, const float* packed_weight, const float* out,
                    const uint8_t* saved, const float* grad_out, int64_t first, int64_t count, float* grad_x,
                    float* partial_weight, float* partial_bias, float* scratch_base) {
  const bool with_image = grad_x != nullptr;
  const Patches patches(p);
  BackwardScratch scratch(p, patches, with_image, scratch_base);
  const Blocks patch_blocks(patches, kMaxSums);
  for (int64_t i = 0; i < patch_blocks.count(); ++i) scratch.blocks[i] = patch_blocks[i];
  // As many vectors as let the weights of a block, those of all filters, stay in the first-level cache.
  const Blocks filter_blocks(patches, Max(1, Min(kMaxSums, kWeightCacheFloats / (p.filters * kLanes))));
  Lists& filters = scratch.filters;
  const int64_t image_floats = p.channels * p.height * p.width, windows = p.Windows();
  for (int64_t i = 0; i < scratch.together * scratch.image_positions; ++i) {
    const int64_t image = i / scratch.image_positions, window = i % scratch.image_positions / 4;
    const int64_t y = 2 * (window / p.PooledWidth()) + i % 4 / 2, at = 2 * (window % p.PooledWidth()) + i % 2;
    scratch.position_offset[i] = static_cast<int32_t>(image * scratch.image + y * patches.row + at * patches.pixel);
  }
  memset(scratch.rest_hwc, 0, (scratch.unfolded - scratch.rest_hwc) * sizeof(float));
  memset(partial_weight, 0, p.filters * patches.filter * sizeof(float));
  memset(partial_bias, 0, p.filters * sizeof(float));
  for (int64_t n = first; n < first + count; n += scratch.together) {
    const int64_t images = Min(scratch.together, first + count - n);
    for (int64_t i = 0; i < images; ++i) {
      Unfold(p, patches, x + (n + i) * image_floats, scratch.rest_hwc, scratch.unfolded + i * scratch.image);
    }
    const int64_t next = n + images, next_images = Min(scratch.together, first + count - next);
    if (next_images > 0) {
      const int64_t at = next * p.filters * windows, size = next_images * p.filters * windows;
      Prefetch(x + next * image_floats, next_images * image_floats * sizeof(float));
      Prefetch(grad_out + at, size * sizeof(float));
      Prefetch(saved + at * p.SavedBytesPerWindow(), size * p.SavedBytesPerWindow());
    }
    if (with_image) memset(filters.count, 0, images * scratch.image_positions * sizeof(int32_t));
    const auto list_positions = [&](int64_t m) {
      List& list = scratch.positions[m % 2];
      list.count = 0;
      for (int64_t i = 0; i < images; ++i) {
        const int64_t at = ((n + i) * p.filters + m) * windows;
        partial_bias[m] += AppendPositions(p, out + at, saved + at * p.SavedBytesPerWindow(), grad_out + at,
                                           static_cast<int32_t>(i * scratch.image_positions), &list);
      }
    };
    list_positions(0);
    for (int64_t m = 0; m < p.filters; ++m) {
      // One filter ahead, so that the processor need not wait for the length of the list that it is about to read.
      if (m + 1 < p.filters) list_positions(m + 1);
      const List& positions = scratch.positions[m % 2];
      float* const grad_filter = partial_weight + m * patches.filter;
      for (int64_t i = 0; i < scratch.patch_blocks; ++i) {
        const Block& block = scratch.blocks[i];
        BlockFunctionsOf(block).add_patches(positions, scratch.unfolded, scratch.position_offset, block, grad_filter);
      }
      if (!with_image) continue;
      for (int64_t i = 0; i < positions.count; ++i) {
        const int64_t position = positions.index[i];
        const int64_t at = position * filters.capacity + filters.count[position]++;
        filters.multiples[at] = {static_cast<int32_t>(m * patches.filter), positions.value[i]};
      }
    }
    if (!with_image) continue;
    int64_t used[kMaxTogether];
    for (int64_t i = 0; i < images; ++i) {
      const int64_t begin = i * scratch.image_positions;
      used[i] = SortByLength(filters, begin, begin + scratch.image_positions, scratch.length_begin,
                             scratch.order + begin);
    }
    memset(scratch.grad, 0, images * scratch.image * sizeof(float));
    for (int64_t i = 0; i < filter_blocks.count(); ++i) {
      const Block block = filter_blocks[i];
      for (int64_t j = 0; j < images; ++j) {
        BlockFunctionsOf(block).add_filters(filters, scratch.order + j * scratch.image_positions, used[j],
                                            packed_weight, block, scratch.position_offset, scratch.grad);
      }
    }
    for (int64_t i = 0; i < images; ++i) {
      Fold(p, patches, scratch.grad + i * scratch.image, scratch.rest_hwc, grad_x + (n + i) * image_floats);
    }
  }
}


}  // namespace
}  // namespace conv_pool

namespace isa::CONV_POOL_ISA {
using namespace conv_pool;
const BackwardKernels kBackward = {BackwardWeightFloats, PackBackwardWeight, BackwardScratchFloats, BackwardImages,
                                   ReduceWeight};
}  // namespace isa::CONV_POOL_ISA
