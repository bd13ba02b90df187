use super::ClipTokenizer;
use crate::error::Result;
use std::collections::HashSet;

impl ClipTokenizer {
    /// Expands tokens of several vectors, `<t>` to `<t> <t>_1 ...`, by plain text replacement of each token that the prompt contains.
    ///
    /// Source: diffusers loaders/textual_inversion.py `maybe_convert_prompt`, whose order of replacement is random; here it is the prompt's. Tokens with
    /// capitals are expanded too, where the prompt writes them as they were added.
    pub fn expand_prompt(&self, prompt: &str) -> Result<String> {
        let mut prompt_now = prompt.to_owned();
        let mut seen = HashSet::new();
        for shown in self.tokenize(prompt)? {
            let Some(token) = self.added.content(&shown).map(str::to_owned).filter(|token| seen.insert(token.clone())) else { continue };
            let following = (1..).map(|vector| format!("{token}_{vector}")).take_while(|next| self.added.id(next).is_some());
            let replacement = following.fold(token.clone(), |all, next| all + " " + &next);
            prompt_now = prompt_now.replace(&token, &replacement);
        }
        Ok(prompt_now)
    }
}
