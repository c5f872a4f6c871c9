// Words of a sequence, and the tables they look up. Part of kernels.inl.

void words(const uint8_t* codes, int64_t length, int64_t first, int64_t count, int chunk, uint32_t row_bytes,
           uint8_t* letters, uint32_t* offsets) {
  const int64_t needed = count + chunk - 1;
  const int64_t inside_begin = lower(upper(-first, 0), needed);
  const int64_t inside_end = upper(lower(length - first, needed), inside_begin);
  for (int64_t i = 0; i < inside_begin; ++i) letters[i] = 4;
  for (int64_t i = inside_begin; i < inside_end; ++i) {
    const uint8_t code = codes[first + i];
    letters[i] = code < 4 ? code : 4;
  }
  for (int64_t i = inside_end; i < needed; ++i) letters[i] = 4;
  const uint32_t w1 = row_bytes * 5, w2 = row_bytes * 25, w3 = row_bytes * 125;
  switch (chunk) {
    case 1:
      for (int64_t i = 0; i < count; ++i) offsets[i] = letters[i] * row_bytes;
      break;
    case 2:
      for (int64_t i = 0; i < count; ++i) offsets[i] = letters[i] * row_bytes + letters[i + 1] * w1;
      break;
    case 3:
      for (int64_t i = 0; i < count; ++i)
        offsets[i] = letters[i] * row_bytes + letters[i + 1] * w1 + letters[i + 2] * w2;
      break;
    default:
      for (int64_t i = 0; i < count; ++i)
        offsets[i] = letters[i] * row_bytes + letters[i + 1] * w1 + letters[i + 2] * w2 + letters[i + 3] * w3;
  }
}

template <typename T>
void tables(const T* weight, int64_t live, int64_t width, int64_t column, int64_t columns, const T* sign,
            T* scratch, const Tables<T>& out) {
  using S = Simd<T>;
  const int lanes = out.lanes;
  const int64_t padded = static_cast<int64_t>(out.chunks) * out.chunk;
  // scratch[k][letter][lane]; N and the columns past the filter are zero.
  for (int64_t i = 0; i < padded * kWords * lanes; ++i) scratch[i] = 0;
  for (int64_t lane = 0; lane < live; ++lane) {
    T poison = 0;  // NaN where a weight is not finite: the dense sum then holds 0 * inf
    for (int64_t i = 0; i < 4 * width; ++i) poison += weight[lane * 4 * width + i] * 0;
    for (int letter = 0; letter < 4; ++letter) {
      const T* w = weight + (lane * 4 + letter) * width + column;
      for (int64_t k = 0; k < columns; ++k) scratch[(k * kWords + letter) * lanes + lane] = w[k] * sign[lane];
    }
    if (poison != poison)
      for (int letter = 0; letter < kWords; ++letter) scratch[letter * lanes + lane] += poison;
  }
  for (int j = 0; j < out.chunks; ++j) {
    T* rows = reinterpret_cast<T*>(reinterpret_cast<char*>(out.rows) + j * out.chunk_bytes);
    const T* first = scratch + static_cast<int64_t>(j) * out.chunk * kWords * lanes;
    for (int64_t i = 0; i < kWords * lanes; ++i) rows[i] = first[i];
    int64_t count = kWords;  // rows so far: all words of the letters before this one
    for (int letter = 1; letter < out.chunk; ++letter, count *= kWords) {
      const T* added = first + static_cast<int64_t>(letter) * kWords * lanes;
      for (int value = kWords - 1; value >= 0; --value)  // value 0 last: it overwrites the rows it reads
        for (int64_t row = 0; row < count; ++row)
          for (int lane = 0; lane < lanes; lane += S::kWidth)
            S::store(rows + (value * count + row) * lanes + lane,
                     S::add(S::load(rows + row * lanes + lane), S::load(added + value * lanes + lane)));
    }
  }
}
