// Instead of the header that a Go module leaves out. Only sound as an input of a model needs it; here no sound is ever read.
#pragma once

#include <cstddef>
#include <cstdint>

using ma_result = int;
using ma_uint64 = std::uint64_t;

enum { MA_SUCCESS = 0, MA_ERROR = -1 };
enum ma_format { ma_format_f32 = 5 };

struct ma_decoder_config {};
struct ma_decoder {};

inline ma_decoder_config ma_decoder_config_init(ma_format, std::uint32_t, std::uint32_t) { return {}; }
inline ma_result ma_decoder_init_memory(const void *, std::size_t, const ma_decoder_config *, ma_decoder *) { return MA_ERROR; }
inline ma_result ma_decoder_get_length_in_pcm_frames(ma_decoder *, ma_uint64 *) { return MA_ERROR; }
inline ma_result ma_decoder_read_pcm_frames(ma_decoder *, void *, ma_uint64, ma_uint64 *) { return MA_ERROR; }
inline ma_result ma_decoder_uninit(ma_decoder *) { return MA_SUCCESS; }
