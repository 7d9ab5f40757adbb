//! The [`Questions`] that this pod has asked other servers.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::mpsc;

/// How many answers may wait for one question's asker.
pub const MAX_ANSWERS: usize = 1024;

/// Questions that wait for answers, by their ids.
#[derive(Debug)]
pub struct Questions<A> {
    open: Mutex<(u64, HashMap<u64, mpsc::Sender<A>>)>,
}

impl<A> Default for Questions<A> {
    fn default() -> Self {
        Questions { open: Mutex::new((0, HashMap::new())) }
    }
}

impl<A> Questions<A> {
    /// Opens a question; it is closed when the handle is dropped. At most `max_answers` wait for
    /// the asker, [`MAX_ANSWERS`] where each server answers once.
    pub fn open(&self, max_answers: usize) -> Open<'_, A> {
        let (sender, answers) = mpsc::channel(max_answers);
        let mut open = self.open.lock();
        open.0 += 1;
        let id = open.0;
        open.1.insert(id, sender);
        Open { id, answers, questions: self }
    }

    /// Whether nobody waits for anything.
    pub fn is_empty(&self) -> bool {
        self.open.lock().1.is_empty()
    }

    /// Hands an answer to whoever waits for it; nobody, where the deadline is over.
    pub fn answer(&self, id: u64, answer: A) {
        if let Some(asker) = self.open.lock().1.get(&id) {
            // Full: a flood of answers to one question; the rest count as not given.
            let _ = asker.try_send(answer);
        }
    }
}

/// An open question.
#[derive(Debug)]
pub struct Open<'a, A> {
    /// The id that an answer must carry.
    pub id: u64,
    /// Receives the answers, in the order in which they arrive.
    pub answers: mpsc::Receiver<A>,
    questions: &'a Questions<A>,
}

impl<A> Drop for Open<'_, A> {
    fn drop(&mut self) {
        self.questions.open.lock().1.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_reaches_the_question_that_is_open() {
        let questions = Questions::default();
        let mut open = questions.open(MAX_ANSWERS);
        questions.answer(open.id, "yes");
        questions.answer(open.id + 1, "no");
        assert_eq!(open.answers.recv().await, Some("yes"));
        let id = open.id;
        drop(open);
        questions.answer(id, "late");
        assert!(questions.is_empty());
    }
}
